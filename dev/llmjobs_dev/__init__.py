"""The embedded local stack behind 'llmjobs dev up'; never imported by production code."""
