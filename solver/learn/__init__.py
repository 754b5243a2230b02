"""From tensors of tasks to log-probabilities: canvases, augmentation, test-time fine-tuning, prediction."""
