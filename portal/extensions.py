"""The Flask extensions, made once and given to the app in `create_app`."""

from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect

from models.base import Base

# Rows stay readable after the commit, as in the proxy and the jobs.
db = SQLAlchemy(metadata=Base.metadata, session_options={"expire_on_commit": False})
csrf = CSRFProtect()
