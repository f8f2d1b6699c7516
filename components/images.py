"""The container images the steps run in. SubprocessRunner wants "python" in the name."""

CPU_IMAGE = "colorize-python-cpu:0.1.0"
GPU_IMAGE = "colorize-python-gpu:0.1.0"
