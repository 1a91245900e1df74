const [,, url, token] = process.argv;
for (let i=0;i<4;i++) {
 try { const r = await fetch(url, {method:'POST', headers:{'content-type':'application/json', ...(token?{authorization:'Bearer '+token}:{})}, body: Buffer.alloc(50_000_000, 32)}); console.log(r.status, (await r.text()).slice(0,120)); } catch (e) { console.log(e.message, e.cause?.code) }
}
