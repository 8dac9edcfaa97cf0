// Keeps what was asked last: answers can overtake each other on their way, and the one that comes
// last is not always the one that was asked for last. Such a one is hidden and asked for again, as
// things are now. The page that a table was turned to is the reader's: an answer to what was asked
// before the turn does not turn it back.
// Runs as the body of a function of (props, trigger, watch).
let newest = { asked: 0, ...props.value };
let turned = { asked: -1 };

// It may hold what has been masked since.
function hide(hidden) {
  for (const id of props.drawn) {
    const node = document.getElementById(id);
    if (node) node.style.visibility = hidden ? "hidden" : "";
  }
}

watch("value", () => {
  const came = props.value ?? {};
  const { asked = 0, table } = came;
  if (asked < newest.asked) {
    hide(true);
    props.value = newest;
    trigger("again", {});
    return;
  }
  hide(false);
  const before = asked <= turned.asked && table === turned.table;
  newest = before ? { ...came, page: turned.page } : came;
  if (before && came.page !== turned.page) props.value = newest;
});

document.addEventListener("turn", (event) => {
  const { of, page } = event.detail;
  if (of !== props.of) return;
  turned = { asked: window.asked ?? 0, table: props.value?.table, page };
  newest = { ...props.value, page };
  props.value = newest;
  trigger("again", {});
});
