"""Titles, colours, guidelines and licences of the brands in `samples/`.

The icon sets name their drawings ("visual-studio-code") and state no titles. Simple Icons keeps a title, a colour, links and
a licence for each brand it draws (CC0 1.0); its titles also fit the drawings of SVG Logos with the same name.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from benchmarks.render_icons import fetch_package

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIMPLE_ICONS = "16.37.0"
"""The release of Simple Icons that `@iconify-json/simple-icons` 1.2.102 was made of."""

VARIANT = re.compile(r"(-icon)?(-(alt|dark|mono|monochrome|old|classic|2020))?(-icon)?$")
"""The end of an icon's name that says which drawing of the brand it is."""

OTHER_BRANDS = frozenset({"cobalt", "cockpit", "drizzle", "element", "flux", "gleam", "hermes", "solid"})
"""Drawings of SVG Logos whose namesake in Simple Icons is another brand: checked by eye, one pair after the other."""

# How brands that Simple Icons does not draw write their names, where it is not word by word with a capital letter.
SPELLINGS = """
100TB, ActiveCampaign, AeroGear, Aha!, AI, AIX, AngelList, API, Apollo Stack, AppCenter, AppDynamics, AppFlow,
AppSync, AsyncAPI, AWS, AWS OpenSearch, BackerKit, BEM, BigPanda, Blitz.js, Brain.js, BugHerd, C#, CanJS, CapacitorJS,
CLJS, Cloud Academy, CloudFormation, CloudLinux, CloudSearch, CloudTrail, CloudWatch, CodeDeploy, CodePen,
CodePipeline, CodeStar, ComponentKit, Conan.io, CoreWeave, CouchDB, Crate.io, CSS, Customer.io, DataSpell, DC/OS,
DeepInfra, DreamHost, Driver.js, DSPy, EC2, ECS, EKS, ELB, EventBridge, FalkorDB, Flood.io, Flow XO, FloydHub,
Freedom Defined, FrontApp, GalliumOS, GameAnalytics, GetYourGuide, Giant Swarm, GitHub, Glimmer.js, GNUnet, GnuPG,
Go Horse, Google 360 Suite, Google AI Studio, GunJS, HBase, HHVM, HostGator, Hound CI, HTML5, IAM, IBM, IETF,
Import.io, ItsAlive, JAX, JetBrains, jQuery, JS Bin, jsdom, JSON, KeystoneJS, KMS, Kore.io, LanceDB, LaunchDarkly,
LevelDB, lighttpd, LinkedIn, LlamaIndex, Lucene.NET, MailDeveloper, MAPS.ME, MDN, MetaMask, mLab, Moment.js, MooTools,
mParticle, MPS, MQ, MSW, NASM, NATS, NetBeans, NocoDB, node-webkit, NodeOS, OAuth, ObservableHQ, octoDNS, OneSignal,
OpenAI, OpenAPI, OpenCart, OpenClaw, OpsWorks, OS, OSHW, Otter.ai, PageKite, PaLM, PlantUML, POEditor, PostGraphile,
PumpkinDB, PyScript, QuickSight, RAGFlow, RDS, ReasonML, RenovateBot, RethinkDB, RisingWave, Route 53, RudderStack,
S3, SassDoc, SCM, SendGrid, SES, SigNoz, SK hynix, SNS, SolarWinds, SolidJS, SonarLint, SonarQube, SpeedCurve, SQS,
stdlib, Sticker Mule, stylefmt, StyleX, SugarSS, SuperTokens, TasteJS, TeamGrid, TestLodge, TigerGraph, TNW, TodoMVC,
Together AI, Treasure Data, TSMC, TuneIn, TurboFan, UI, UMU, uWSGI, Visa Electron, Vite+, VPC, Vuetify.js, VWO, W&B,
W3C, WAF, WalkMe, Web Components, Web Platform, web.dev, webhint, WebKit, WebSocket, WHATWG, WMR, WorkBoard, WorkOS,
X-Cart, X-Ray, xAI, XD, XWiki, Yandex.ru, YouTrack, Z-Wave, zeroheight
"""


def load_brands(npm: Path) -> dict[str, Mapping[str, Any]]:
    """The brands of Simple Icons by `brand_key` of their slug and of their title; exits when they are not CC0."""
    package = fetch_package("simple-icons", SIMPLE_ICONS, npm)
    licence = json.loads((package / "package.json").read_bytes())["license"]
    if licence != "CC0-1.0":
        raise SystemExit(f"{package.name} is licensed {licence}, not CC0-1.0")
    brands = json.loads((package / "data" / "simple-icons.json").read_bytes())
    by_slug = {brand_key(brand["slug"]): brand for brand in brands}
    return {brand_key(brand["title"]): brand for brand in brands} | by_slug


def describe(icon_set: str, name: str, brands: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    """What is known of a drawing: `text` (the brand's title) and `icon` (its name in Iconify's notation).

    Where Simple Icons has the brand, also `hex` (its colour, "#02303A"), `guidelines` (link to its rules for the mark) and
    `license` (of the mark, an SPDX identifier or a link), and for its own drawings `source` (link to the original).
    """
    brand_name = name if icon_set == "simple-icons" else VARIANT.sub("", name)
    brand = None if brand_name in OTHER_BRANDS and icon_set == "logos" else brands.get(brand_key(brand_name))
    if brand is None:
        return {"text": spell(brand_name), "icon": f"{icon_set}:{name}"}
    licence = brand.get("license", {})
    known = {
        "guidelines": brand.get("guidelines"),
        "license": licence.get("url") if licence.get("type") == "custom" else licence.get("type"),
        "source": brand["source"] if icon_set == "simple-icons" else None,
    }
    return {
        "text": brand["title"],
        "icon": f"{icon_set}:{name}",
        "hex": f"#{brand['hex']}",
        **{key: value for key, value in known.items() if value},
    }


def spell(name: str) -> str:
    """A title of words: "aws-cloudtrail" is "AWS CloudTrail", "baker-street" is "Baker Street"."""
    spellings = {brand_key(title): title for title in re.split(r",\s+", SPELLINGS.strip())}
    words = [spellings.get(word, word[:1].upper() + word[1:]) for word in name.split("-")]
    return spellings.get(brand_key(name), " ".join(words))


def brand_key(title: str) -> str:
    """What two spellings of one brand have in common: "Vite+" and "vite-plus" are "viteplus"."""
    spoken = title.lower().replace("+", "plus").replace("#", "sharp").replace("&", "and")
    return re.sub("[^a-z0-9]", "", spoken)
