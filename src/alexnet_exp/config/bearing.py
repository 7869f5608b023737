"""What bears on the result of a run: fields say so, here is what others' arguments do."""

NEUTRAL_ARGUMENTS = frozenset({
    "detect_anomaly", "enable_autolog_hparams", "enable_model_summary", "inference_mode",
    "log_every_n_steps", "model_registry", "num_sanity_val_steps", "profiler",
})  # fmt: skip
"""Arguments of Lightning's Trainer that have no bearing on the result."""

OBSERVERS = frozenset({
    "DeviceStatsMonitor", "LearningRateMonitor", "ModelSummary", "RichModelSummary",
    "RichProgressBar", "ThroughputMonitor", "TQDMProgressBar",
})  # fmt: skip
"""Lightning's callbacks that look on."""

_ALL_IMAGES = "a trained network is evaluated on every image"
_EACH_EPOCH = "the best epoch is chosen, and the plateau counted, by one evaluation an epoch"
REFUSED_ARGUMENTS = {
    "barebones": "a run is recorded; python -m alexnet_exp.bench measures speed",
    "benchmark": "set speed.autotune",
    "callbacks": "set callbacks=[...] or +callbacks.<name>._target_=...",
    "check_val_every_n_epoch": _EACH_EPOCH,
    "default_root_dir": "set hydra.run.dir",
    "enable_checkpointing": "the errors of a run are those of its best checkpoint",
    "enable_progress_bar": "set trainer.progress",
    "gradient_clip_algorithm": "set optim.clip_norm, which clips the norm",
    "gradient_clip_val": "set optim.clip_norm",
    "limit_predict_batches": _ALL_IMAGES,
    "limit_test_batches": _ALL_IMAGES,
    "logger": "set logger=[...] or +logger.<name>._target_=...",
    "max_time": "how far a run comes would depend on the machine; set trainer.max_epochs",
    "overfit_batches": "set trainer.limit_train_batches",
    "plugins": "set trainer.precision and strategy=...",
    "reload_dataloaders_every_n_epochs": "the loader follows the epochs by itself",
    "strategy": "set strategy=ddp, fsdp, towers or one_weird_trick",
    "sync_batchnorm": "batch normalization sees the global batch already",
    "use_distributed_sampler": "the loader divides the images among processes by itself",
    "val_check_interval": _EACH_EPOCH,
}
"""Arguments of Lightning's Trainer that would break a promise, with the reason or the way."""
