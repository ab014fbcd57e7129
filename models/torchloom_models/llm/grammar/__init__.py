"""What an answer must look like: checked, compiled beside the steps, and kept to token by token."""
