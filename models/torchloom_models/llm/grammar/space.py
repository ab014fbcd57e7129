"""Which white space may stand between the parts of JSON. Knows no grammar."""

from __future__ import annotations

from typing import Final


#: A space, or a line break with what is indented. A model that may write any white space may write
#: nothing else.
JSON_SPACE: Final = " |\\r?\\n[ \\t]{0,32}"
