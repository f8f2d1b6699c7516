"""Decorators of KFP components: each fixes the image that a step runs in.

A component's body runs in a pod without the module around it, so it imports what it needs. kfp copies the source from
`def` on, which is why a decorator of ours may stand above it.
"""

from functools import partial

from kfp import dsl

from components.images.names import CPU_IMAGE, GPU_IMAGE

component = partial(dsl.component, base_image=CPU_IMAGE, install_kfp_package=False)
gpu_component = partial(dsl.component, base_image=GPU_IMAGE, install_kfp_package=False)
