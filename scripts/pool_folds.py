"""One metrics.json over all folds of a cross-validation: python -m scripts.pool_folds eval/nih"""

import fire

from bundle.metrics.pool import pool_folds

if __name__ == "__main__":
    fire.Fire(pool_folds)
