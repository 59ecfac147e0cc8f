"""From a trained experiment to something that stands alone."""
