"""Generator, discriminator, encoders and their pretrained weights."""
