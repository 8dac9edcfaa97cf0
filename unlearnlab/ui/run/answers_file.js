// Saves the file that comes as the component's value, `{ name, data }`.
// Runs as the body of a function of (props, watch).
watch("value", () => {
  if (!props.value?.data) return;
  save(props.value.name, props.value.data);
  props.value = null;
});
