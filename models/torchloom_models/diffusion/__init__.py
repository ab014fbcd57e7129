"""The kind `diffusion`: pictures from prompts, denoised together, each at its own timestep."""
