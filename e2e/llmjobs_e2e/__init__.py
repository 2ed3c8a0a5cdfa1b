"""A cluster with a real node, for tests of what only pods show. Production never imports it."""
