"""The gateway's routes; each module is one surface or one kind of request."""
