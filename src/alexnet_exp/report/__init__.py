"""Published claims beside what was measured; reads run folders and nothing else."""
