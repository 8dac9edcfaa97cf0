// Answers can overtake each other. One that comes after the answer to a later request is hidden and
// asked for again, with what is chosen now. An answer to a request from before the reader turned a
// table's page does not turn it back.
// Runs as the body of a function of (props, trigger, watch).
let newest = { asked: 0, ...props.value };
let turned = { asked: -1 };

// A late answer may show what has been masked since.
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
