"""Metrics of colorings, one file each: functions of tensors that return a value per photograph where possible.

`l1_ab`, `psnr`, `ssim`, `colorfulness`, `lpips` and `diversity` are means over photographs. `ab_intersection`, `fid`,
`kid` and the same distances over other features compare whole sets: they accumulate histograms or feature vectors and
keep no picture longer than a batch.
"""
