"""Ranks of torch.distributed that run one rollout together."""
