"""Dashboards, alerts and the list of metrics, made from typed code; nothing runs this in a cluster.

``make generate`` writes what is here to the chart and to the reference.
"""
