"""Vector indexes: build them from documents, and search them. Imports no database by itself."""
