"""Builders, fixtures' parts and the scripted engine that tests share."""
