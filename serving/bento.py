"""What `bentoml serve serving.bento:service` and a Bento run."""

import os

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

from perennial.settings import settings
from serving.api import Api
from serving.service import build

service = build(Api(settings()))
