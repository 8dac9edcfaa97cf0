// Keeps what was asked last: answers can overtake each other on their way, and the one that comes
// last is not always the one that was asked for last. Such a one is asked for again, as things are
// now. The page that a table was turned to is the reader's: an answer to what was asked before
// the turn does not turn it back.
// Runs as the body of a function of (props, trigger, watch).
let newest = { asked: 0 };
let turned = { asked: -1 };

watch("value", () => {
  const came = props.value ?? {};
  const { asked = 0, table } = came;
  if (asked < newest.asked) {
    props.value = newest;
    trigger("again", {});
    return;
  }
  const before = asked <= turned.asked && table === turned.table;
  newest = before ? { ...came, page: turned.page } : came;
  if (before && came.page !== turned.page) props.value = newest;
});

document.addEventListener("turn", (event) => {
  const { of, page } = event.detail;
  if (of !== props.of) return;
  turned = { asked: window.asked ?? 0, table: props.value?.table, page };
  props.value = { ...props.value, page };
  trigger("again", {});
});

document.addEventListener("asked", () => trigger("again", {}));
