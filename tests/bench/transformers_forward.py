"""The other side of bench_audit.py: a plain transformers forward pass, kept in a process of its own.

    python3 transformers_forward.py MODEL.gguf IDS.txt THREADS DTYPE

Prints a line of JSON when the model is loaded, and one for every line read from stdin: model(input_ids) for each sequence in turn,
"sdpa" attention, no cache, no gradients. Only the last logits are looked at, so that nothing can be left out.
"""

import json
import pathlib
import resource
import sys
import time

import torch
import transformers


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def current():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def forget_loading():
    """Loading a GGUF takes more memory than running it; the peak that counts is the forward pass's."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def high_water():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return peak()


def main():
    model_path, ids_path, threads, dtype = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), getattr(torch, sys.argv[4])
    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    sequences = [torch.tensor([[int(i) for i in line.split()]]) for line in open(ids_path) if line.strip()]
    model = transformers.AutoModelForCausalLM.from_pretrained(model_path.parent, gguf_file=model_path.name, dtype=dtype, attn_implementation="sdpa").eval()
    forget_loading()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "torch_threads": torch.get_num_threads(), "loaded_bytes": current()}
    print(json.dumps(versions), flush=True)
    for _ in sys.stdin:
        begun, worked = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            for ids in sequences:
                last = model(input_ids=ids, use_cache=False).logits[0, -1].float().sum().item()
        seconds = time.perf_counter() - begun
        tokens = sum(ids.numel() for ids in sequences)
        print(json.dumps({"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds, "cpu_seconds": time.process_time() - worked,
                          "peak_bytes": high_water(), "check": last}), flush=True)


if __name__ == "__main__":
    main()
