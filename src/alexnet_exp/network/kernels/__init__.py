"""Compiled kernels of what is slow in torch operations: C for CPUs, Triton for GPUs."""

import os

# Triton contracts to fused multiply-adds until 3.10, and warns where nobody has said so.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
