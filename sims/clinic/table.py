"""Print one table from the JSON of `tacit train` on each site.

    table.py FOLDER PLAN FROM TO HEAD_FROM HEAD_TO
"""
import glob
import json
import os
import sys

folder, plan, before, after, head_before, head_after = sys.argv[1:]
print(f"  {'site':12}{head_before:>12}{head_after:>12}{'change':>10}")
total = [0.0, 0.0]
files = sorted(glob.glob(os.path.join(folder, f"train-{plan}-*.json")))
for name in files:
    with open(name, encoding="utf-8") as f:
        data = json.load(f)["data"]
    site = os.path.basename(name)[len(f"train-{plan}-"):-len(".json")]
    a, b = data[before]["metric"], data[after]["metric"]
    total[0] += a / len(files)
    total[1] += b / len(files)
    print(f"  {site:12}{a:12.3f}{b:12.3f}{b - a:+10.3f}")
print(f"  {'mean':12}{total[0]:12.3f}{total[1]:12.3f}"
      f"{total[1] - total[0]:+10.3f}")
