"""Run every benchmark: ``python -m tests.bench``."""

import torch

from tests.bench import bench_evaluation, bench_network, bench_signals, bench_virtual

print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians, interleaved in this process\n")
bench_network.main()
bench_signals.main()
bench_virtual.main()
bench_evaluation.main()
