/** The graphs, in French. */
export default {
  "Show topics": "Montrer les sujets",
  "all, or: host:*": "tous, ou : host:*",
  "Zoom out": "Zoom arrière",
  "Zoom in": "Zoom avant",
  "Show all": "Tout montrer",
  "Save as SVG": "Enregistrer en SVG",
  "Save as PNG": "Enregistrer en PNG",
  "Producers, topics and consumers. Arrow keys go from one to the next, Enter shows details.":
    "Producteurs, sujets et consommateurs. Les flèches vont de l'un à l'autre, Entrée montre les détails.",
  "Nobody has published or subscribed yet. The first message draws the first line:":
    "Personne n'a encore publié ni ne s'est abonné. Le premier message trace la première ligne :",
  "No topic is called that.": "Aucun sujet ne s'appelle ainsi.",
  "{producers} producers, {topics} topics, {consumers} consumers":
    "{producers} producteurs, {topics} sujets, {consumers} consommateurs",
  "{published} published, {delivered} delivered a second":
    "{published} publiés, {delivered} livrés par seconde",
  "not every message is shown": "tous les messages ne sont pas montrés",
  "{rate} messages a second": "{rate} messages par seconde",
  "{rate} confirmed a second": "{rate} confirmés par seconde",
  "{count} published": "{count} publiés",
  "{count} confirmed": "{count} confirmés",
  "flowing": "actif",
  "silent": "silencieux",
  "not connected": "non connecté",
  "flowing: the wider, the more": "actif : plus large, plus de messages",
  "silent for a minute": "silencieux depuis une minute",
  "confirms late": "confirme en retard",
  "far behind": "très en retard",
  "{count} not confirmed yet": "{count} pas encore confirmés",
  "the most active links": "les liens les plus actifs",
};
