"""The charts' values as types: values.yaml, its schema and its table are made from them."""
