// The link's secret stands behind the `#`, which browsers send to nobody: no log holds it.
const [purpose, token] = location.hash.slice(1).split("/");
const form = document.querySelector("form");
const said = document.querySelector("[role=status]");
const good = ["accept-invitation", "reset-password"].includes(purpose) && token;

if (!good) {
  form.hidden = true;
  said.textContent = "This link is not whole: open it as it stands in the message.";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "";
  try {
    const answer = await fetch(`/api/auth/${purpose}/${encodeURIComponent(token)}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ password: form.elements.password.value }),
    });
    if (answer.ok) {
      form.hidden = true;
      said.textContent = "Your password is set: sign in with it.";
      return;
    }
    const problem = await answer.json();
    const weak = problem.errors?.map((error) => `Your ${error.field} ${error.message}.`).join(" ");
    said.textContent =
      answer.status === 404 ? "This link is good no more: ask for another." : weak || problem.detail;
  } catch {
    said.textContent = "The service can't be reached: try again.";
  }
});
