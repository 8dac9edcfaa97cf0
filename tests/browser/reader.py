"""What a reader of the page does, and looks at."""

from playwright.sync_api import expect

POINTS = "() => (document.querySelector('#live .plot').data || [])[0]?.x?.length || 0"


def pill(page):
    return page.locator('#live [data-part="status"] .pill')


def finished(page, timeout=60000):
    expect(pill(page)).to_have_text("finished", timeout=timeout)


def fill_seed(page, seed):
    if not page.locator("#f-seed input").count():
        page.get_by_role("button", name="All settings").click()
    page.locator("#f-seed input").fill(str(seed))


def unfold(page):
    """Open all settings of the form."""
    page.get_by_role("button", name="All settings").click()


def turn(page, name):
    """Turn to a tab of the run's details; on a phone, the last ones are in a menu."""
    tab = page.locator(f"#tab-{name}-button")
    expect(page.locator("#tab-answers-button")).to_be_visible()
    if page.viewport_size["width"] < 600 and not tab.is_visible():
        page.locator("#run-tabs .overflow-menu > button").click()
        title = {"measures": "Membership and measures"}.get(name, name.capitalize())
        tab = page.locator("#run-tabs .overflow-dropdown").get_by_role("button", name=title)
    tab.click()


def choose(page, field, option):
    page.locator(f"#{field} input").click()
    page.get_by_role("option", name=option, exact=True).click()
