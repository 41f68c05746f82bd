"""Parses answers with the classes that datamodel-code-generator made into the module `made`. FILE has [schema, answer] pairs as
JSON; prints the name of the class of each answer.

    python parse.py FILE
"""

import json
import sys
from pathlib import Path

import made

pairs = json.loads(Path(sys.argv[1]).read_text())
print(json.dumps([type(getattr(made, schema).model_validate(answer).root).__name__ for schema, answer in pairs]))
