"""The OpenAI API (`/v1`): models, chat completions, responses, completions, embeddings."""
