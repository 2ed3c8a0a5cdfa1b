"""How fast llmjobs is, measured beside what people would use instead."""
