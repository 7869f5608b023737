"""The network of the paper and its relatives; it knows nothing of data, devices or loss."""
