"""The llmjobs command."""
