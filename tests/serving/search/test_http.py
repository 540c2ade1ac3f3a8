from typing import Any


def test_smoke(client: Any) -> None:
    r = client.post("/v1/search", json={"query": "red shirt", "k": 3, "user_id": "ann"})
    print(r.status_code, r.json())
    r = client.get("/v1/suggest", params={"q": "re"})
    print(r.status_code, r.json())
    import io
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (9, 9), (0, 0, 255)).save(out, "PNG")
    r = client.post("/v1/search", files={"image": ("b.png", out.getvalue())})
    print(r.status_code, r.json())
    r = client.post("/v1/search", content=b'{"query": ')
    print(r.status_code, r.json())
    r = client.post("/v1/search", json={"query": "red", "quantity": 3})
    print(r.status_code, r.json())
    r = client.get("/openapi.json").json()
    print(r["paths"]["/v1/search"])
    assert 0
