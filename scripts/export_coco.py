"""Write a datalist as a COCO file.

python -m scripts.export_coco data/own/datalist.json --output data/own/coco.json --section test --images /path/to/images
"""

import fire

from bundle.data.sources.coco_export import export_coco

if __name__ == "__main__":
    fire.Fire(export_coco)
