"""What TorchServe's users watch: metrics of its names, and log files of its formats."""
