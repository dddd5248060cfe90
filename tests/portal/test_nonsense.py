"""What no page or form of ours ever sends, and what somebody may send all the same: each is answered, none breaks."""

import re
import uuid

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from models.config import Settings
from models.users import User
from tests.portal.conftest import Browser
from tests.support import buy

# What Flask's url_for takes for something else than a part of the query.
NAMES = ("endpoint", "_method", "_scheme", "_anchor", "_external")


@pytest.mark.parametrize("name", NAMES)
def test_no_name_in_an_address_changes_where_the_links_of_its_page_lead(as_dana: Browser, name: str) -> None:
    for path in ("/wallet", "/usage", "/admin/users", "/admin/tokens", "/admin/audit", "/admin/inspections"):
        answer = as_dana.get(path, query_string={"_external": "1", name: "javascript"})
        assert answer.status_code == 200
        links = re.findall(r'href="([^"]*javascript[^"]*)"', answer.text)
        assert links
        assert all(link.startswith(f"{path}?") for link in links)
