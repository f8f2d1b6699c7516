"""How good colorings are: one short file a metric. Functions of plain tensors, a value per photograph where one exists.

`l1_ab`, `psnr`, `ssim`, `colorfulness`, `lpips` and `diversity` are means over photographs. `ab_intersection`, `fid`,
`kid` and the same distances over other features compare whole sets: they add up histograms or keep feature vectors, and
hold no picture longer than a batch.
"""
