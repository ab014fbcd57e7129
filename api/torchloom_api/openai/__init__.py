"""The OpenAI API (`/v1`): models, chats, responses, completions, embeddings, pictures, ranking."""
