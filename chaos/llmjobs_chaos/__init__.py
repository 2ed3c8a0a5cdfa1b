"""The chaos suite: real processes, faults at seeded moments, and an independent account of it all.

`scenarios` say what is done and what must hold; `cluster` runs the processes, `faults` plans what
befalls them, `load` plays the clients and keeps the `ledger`, `recount` reads what the store came
to, `invariants` compares the two, and `report` writes it down. Test tooling: production never
imports it.
"""
