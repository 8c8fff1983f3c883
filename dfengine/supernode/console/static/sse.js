// Server-sent events from the chunks of a response (the HTML standard, section 9.2), as the supernode writes them.

export class Parser {
  constructor(deliver) {
    this.deliver = deliver;
    this.decoder = new TextDecoder();
    this.left = "";
  }

  feed(chunk) {
    const text = this.left + this.decoder.decode(chunk, { stream: true });
    const messages = text.split("\n\n");
    this.left = messages.pop();
    for (const message of messages) {
      const fields = {};
      for (const line of message.split("\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
      }
      if (fields.event) this.deliver(fields.event, JSON.parse(fields.data), fields.id);
    }
  }
}
