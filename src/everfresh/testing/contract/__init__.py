"""The promises of a store, one module for each kind; `everfresh.testing.store_contract` puts them together."""

from pkgutil import iter_modules

import pytest

# Else a failing assertion in there would say nothing but that it failed.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))
