// Saves a file that comes as the component's value, `{ name, data }`, its content in base64.
// Runs as the body of a function of (props, watch).
watch("value", () => {
  if (!props.value?.data) return;
  const { name, data } = props.value;
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([bytes]));
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  props.value = null;
});
