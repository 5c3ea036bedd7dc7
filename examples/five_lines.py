"""Where does the embedded model keep the capital of France? In five lines."""

import lashley

bench = lashley.open_model("embedded")
study = lashley.locate(bench, relation="capital", subject="France", register="question")
print(study.page().finding.sentence)
print(study.table.groupby(["kind", "layer"], observed=True)["effect"].max().unstack().round(2))
print(study.write())
