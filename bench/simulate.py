"""The simulation, as `make simulate` runs it."""

from llmjobs_bench.simulation.__main__ import main

if __name__ == "__main__":
    main()
