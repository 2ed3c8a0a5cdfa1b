"""The contract that every part of llmjobs shares."""
