"""Kernels for GPUs, written in Triton, with which the eager code agrees."""
